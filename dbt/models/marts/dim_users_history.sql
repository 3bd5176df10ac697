-- Users as they were: one row for each version, valid until the next one (SCD type 2).
-- Needs a table of users that keeps versions; see docs/dbt.md. Otherwise each user has one row.
select
    user_id || '/' || cast(generated_at as {{ dbt.type_string() }}) as user_version_id,
    versions.*,
    coalesce(attribute_department, 'unknown') as department,
    {{ firstup_dde.has_left() }} as has_left,
    generated_at as valid_from,
    lead(generated_at) over (partition by user_id order by generated_at) as valid_to,
    lead(generated_at) over (partition by user_id order by generated_at) is null as is_current
from {{ ref('stg_firstup__user_versions') }} as versions
