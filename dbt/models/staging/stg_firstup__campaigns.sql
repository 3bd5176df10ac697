-- One row for each campaign: the newest version.
with typed as (
    {{ firstup_dde.typed_rows('campaigns') }}
),

numbered as (
    select
        *,
        row_number() over (
            partition by campaign_id
            order by generated_at desc, _sdc_source_file desc, _sdc_source_lineno desc
        ) as place
    from typed
    where campaign_id is not null
)

select {{ firstup_dde.column_names('campaigns') }}
from numbered
where place = 1
