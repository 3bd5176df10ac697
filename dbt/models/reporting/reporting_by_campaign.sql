{{ config(alias='engagement_by_campaign') }}
{% set names = {'campaign_id': 'Campaign ID', 'campaign_name': 'Campaign', 'acknowledgeable': 'Asks for acknowledgement'} -%}
{% do names.update(firstup_dde.measure_labels()) -%}
select {{ firstup_dde.friendly(names) }}
from {{ ref('engagement_by_campaign') }}
