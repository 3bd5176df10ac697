select
    activity_date,
    {{ firstup_dde.measures() }}
from {{ ref('fct_activities') }}
where activity_date is not null
group by activity_date
