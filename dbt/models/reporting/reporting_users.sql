{{ config(alias='users') }}
select {{ firstup_dde.friendly({
    'user_id': 'User ID', 'first_name': 'First name', 'last_name': 'Last name', 'preferred_name': 'Preferred name',
    'universal_identifier': 'Universal identifier', 'experience_status': 'Experience status',
    'has_left': 'Has left', 'blocked_at': 'Blocked at', 'registered_date': 'Registered at',
    'last_visited_date': 'Last visited at', 'profile_job_title': 'Job title', 'department': 'Department',
    'attribute_division': 'Division', 'attribute_business_unit': 'Business unit', 'attribute_country': 'Country',
    'attribute_region': 'Region', 'attribute_city': 'City', 'attribute_work_location': 'Work location',
    'attribute_language': 'Language', 'attribute_manager': 'Manager', 'attribute_employee_type': 'Employee type',
    'attribute_hire_date': 'Hire date', 'generated_at': 'Exported at'
}) }}
from {{ ref('dim_users') }}
