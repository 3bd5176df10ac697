{# True for a user who has left: Firstup exports no deletion, only a blocked account. #}
{% macro has_left() -%}
    (
        blocked_at is not null
        or coalesce(lower(experience_status), '') in (
            {%- for status in var('firstup_left_statuses') %}'{{ status }}'{{ ', ' if not loop.last }}{% endfor -%}
        )
    )
{%- endmacro %}
