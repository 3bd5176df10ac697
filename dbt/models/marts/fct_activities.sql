-- One row for each event. Firstup gives events no id, so two equal ones are two.
with counted as (
    select
        _sdc_source_file || '/' || cast(_sdc_source_lineno as {{ dbt.type_string() }}) as activity_id,
        content_id as campaign_id,
        user_id,
        date as occurred_at,
        cast(date as date) as activity_date,
        coalesce(platform, 'unknown') as platform,
        {%- for counter in firstup_dde.deliveries() + firstup_dde.actions() %}
        coalesce({{ counter }}, 0) as {{ counter }},
        {%- endfor %}
        link_clicked,
        generated_at,
        _sdc_source_file,
        _sdc_source_lineno
    from {{ ref('stg_firstup__activities') }}
),

judged as (
    select
        *,
        {{ firstup_dde.any_of(firstup_dde.deliveries()) }} as delivers,
        {{ firstup_dde.any_of(firstup_dde.actions()) }} as acts
    from counted
)

select
    activity_id,
    campaign_id,
    user_id,
    occurred_at,
    activity_date,
    -- By the counters: Firstup does not document the values of platform.
    case
        when {{ firstup_dde.any_of(['emails_delivered', 'email_opens', 'emails_clicks']) }} then 'email'
        when {{ firstup_dde.any_of(['push_delivered', 'push_clicks']) }} then 'push'
        when {{ firstup_dde.any_of(['assistant_delivered_count', 'assistant_opens']) }} then 'notification center'
        when feed_clicks > 0 then 'feed'
        else 'other'
    end as channel,
    platform,
    delivers and not acts as is_delivery,
    acts or not delivers as is_action,
    {%- for counter in firstup_dde.deliveries() + firstup_dde.actions() %}
    {{ counter }},
    {%- endfor %}
    link_clicked,
    generated_at,
    _sdc_source_file,
    _sdc_source_lineno
from judged
