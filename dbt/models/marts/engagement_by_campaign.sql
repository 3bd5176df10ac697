-- Only campaigns that something happened to. Their names are in dim_campaigns.
with measured as (
    select
        campaign_id,
        {{ firstup_dde.measures() }}
    from {{ ref('fct_activities') }}
    where campaign_id is not null
    group by campaign_id
)

select
    measured.*,
    campaigns.campaign_name,
    campaigns.acknowledgeable
from measured
left join {{ ref('dim_campaigns') }} as campaigns on measured.campaign_id = campaigns.campaign_id
