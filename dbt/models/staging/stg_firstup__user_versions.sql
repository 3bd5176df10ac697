-- Every exported version of a user that the table still has: all of them if rows are appended,
-- the newest if the loader replaces rows by key.
with typed as (
    {{ firstup_dde.typed_rows('users') }}
),

numbered as (
    select
        *,
        row_number() over (
            partition by user_id, generated_at
            order by _sdc_source_file desc, _sdc_source_lineno desc
        ) as place
    from typed
    where user_id is not null
)

select {{ firstup_dde.column_names('users') }}
from numbered
where place = 1
