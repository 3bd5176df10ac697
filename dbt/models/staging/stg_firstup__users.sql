-- One row for each user: the newest version.
with numbered as (
    select
        *,
        row_number() over (partition by user_id order by generated_at desc) as place
    from {{ ref('stg_firstup__user_versions') }}
)

select {{ firstup_dde.column_names('users') }}
from numbered
where place = 1
