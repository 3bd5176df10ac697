select
    channel,
    {{ firstup_dde.measures() }}
from {{ ref('fct_activities') }}
where channel is not null
group by channel
