{{ config(alias='engagement_by_department') }}
{% set names = {'department': 'Department'} -%}
{% do names.update(firstup_dde.measure_labels()) -%}
select {{ firstup_dde.friendly(names) }}
from {{ ref('engagement_by_department') }}
