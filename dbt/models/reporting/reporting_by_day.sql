{{ config(alias='engagement_by_day') }}
{% set names = {'activity_date': 'Day'} -%}
{% do names.update(firstup_dde.measure_labels()) -%}
select {{ firstup_dde.friendly(names) }}
from {{ ref('engagement_by_day') }}
