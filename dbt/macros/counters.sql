{# Counters of what was sent to a user, who has done nothing by that. #}
{% macro deliveries() %}
    {{ return(['emails_delivered', 'push_delivered', 'assistant_delivered_count']) }}
{% endmacro %}

{# Counters of what a user saw or did. #}
{% macro actions() %}
    {{ return([
        'likes', 'shares', 'bookmarks', 'email_opens', 'feed_clicks', 'emails_clicks', 'push_clicks', 'impressions',
        'downloads', 'poll_responses', 'acknowledge_counts', 'assistant_opens', 'video_plays', 'link_clicks', 'opens',
        'clicks'
    ]) }}
{% endmacro %}

{# True if one of the counters is above zero. #}
{% macro any_of(counters) -%}
    ({% for counter in counters %}{{ counter }} > 0{{ ' or ' if not loop.last }}{% endfor %})
{%- endmacro %}

{# What is counted by day, campaign, channel and department. #}
{% macro measures() -%}
    count(*) as events,
    count(case when is_action then 1 end) as actions,
    count(case when is_delivery then 1 end) as deliveries,
    count(distinct case when is_action then user_id end) as active_people,
    count(distinct case when impressions > 0 then user_id end) as reached_people,
    count(distinct case when acknowledge_counts > 0 then user_id end) as acknowledging_people,
    {%- for counter in ['impressions', 'opens', 'clicks', 'likes', 'shares', 'bookmarks', 'video_plays', 'downloads'] %}
    sum({{ counter }}) as {{ counter }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}
