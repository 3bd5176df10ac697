-- By the department that a user is in now; 'unknown' for users whose data was never exported.
with placed as (
    select
        activities.*,
        coalesce(users.department, 'unknown') as department
    from {{ ref('fct_activities') }} as activities
    left join {{ ref('dim_users') }} as users on activities.user_id = users.user_id
)

select
    department,
    {{ firstup_dde.measures() }}
from placed
group by department
