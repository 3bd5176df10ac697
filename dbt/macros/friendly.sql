{# Columns under the names that people see in a business intelligence tool. #}
{% macro friendly(names) -%}
    {%- for column, label in names.items() %}
    {{ column }} as {{ adapter.quote(label) }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{# The labels of `measures`. #}
{% macro measure_labels() %}
    {{ return({
        'events': 'Events', 'actions': 'Actions', 'deliveries': 'Deliveries', 'active_people': 'Active people',
        'reached_people': 'Reached people', 'acknowledging_people': 'People who acknowledged',
        'impressions': 'Impressions', 'opens': 'Opens', 'clicks': 'Clicks', 'likes': 'Likes', 'shares': 'Shares',
        'bookmarks': 'Bookmarks', 'video_plays': 'Video plays', 'downloads': 'Downloads'
    }) }}
{% endmacro %}
