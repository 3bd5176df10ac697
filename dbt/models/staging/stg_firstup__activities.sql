-- One row for each row of the files. A loader that only appends may have some of them twice.
with typed as (
    {{ firstup_dde.typed_rows('activities') }}
),

numbered as (
    select
        *,
        row_number() over (
            partition by _sdc_source_file, _sdc_source_lineno
            order by generated_at desc
        ) as place
    from typed
)

select {{ firstup_dde.column_names('activities') }}
from numbered
where place = 1
