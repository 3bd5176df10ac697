{#
    The rows of a stream with the documented columns, each of its documented type, and the tap's own.

    A column that the files lack is null, and a table that no file has made is empty. Which type a
    loaded column has depends on the values seen when it was created, so each is cast; a value that
    cannot be cast is null.
#}
{% macro typed_rows(stream) %}
    {%- set relation = source('firstup', stream) -%}
    {%- set there = {} -%}
    {%- if execute -%}
        {%- for column in adapter.get_columns_in_relation(relation) -%}
            {%- do there.update({column.name | lower: column}) -%}
        {%- endfor -%}
    {%- endif -%}
    select
    {%- for name, described in (firstup_dde.documented(stream) if execute else {}).items() %}
        {% if name in there -%}
            {{ firstup_dde.typed(adapter.quote(there[name].name), there[name].dtype | lower, described.data_type) }}
        {%- else -%}
            cast(null as {{ firstup_dde.type_name(described.data_type) }})
        {%- endif %} as {{ name }}{{ ',' if not loop.last }}
    {%- endfor %}
    {{ 'from ' ~ relation if there else 'where 1 = 0' }}
{%- endmacro %}

{# The columns of a stream as sources.yml describes them, by name. #}
{% macro documented(stream) %}
    {%- for node in graph.sources.values() if node.package_name == 'firstup_dde' and node.name == stream -%}
        {{ return(node.columns) }}
    {%- endfor -%}
{% endmacro %}

{# Their names, to select no helper column. #}
{% macro column_names(stream) -%}
    {{ firstup_dde.documented(stream).keys() | join(', ') if execute else '*' }}
{%- endmacro %}

{# A column of some type as text, integer, boolean or timestamp. #}
{% macro typed(column, actual, wanted) -%}
    {%- set is_text = 'char' in actual or 'text' in actual or 'string' in actual -%}
    {%- if wanted == 'text' -%}
        cast({{ column }} as {{ firstup_dde.type_name('text') }})
    {%- elif wanted == 'boolean' -%}
        {%- if 'bool' in actual -%}
            {{ column }}
        {%- else -%}
            case lower(cast({{ column }} as {{ firstup_dde.type_name('text') }}))
                when 't' then true when 'true' then true when 'yes' then true when 'y' then true when '1' then true
                when 'f' then false when 'false' then false when 'no' then false when 'n' then false when '0' then false
            end
        {%- endif -%}
    {%- elif is_text -%}
        {{ firstup_dde.from_text(column, wanted) }}
    {%- elif wanted == 'timestamp' -%}
        {{ firstup_dde.in_utc(column, actual) }}
    {%- else -%}
        cast({{ column }} as {{ firstup_dde.type_name(wanted) }})
    {%- endif -%}
{%- endmacro %}

{% macro type_name(kind) -%}
    {{ {'text': dbt.type_string(), 'integer': dbt.type_bigint(), 'boolean': dbt.type_boolean(), 'timestamp': 'timestamp'}[kind] }}
{%- endmacro %}

{# Text as an integer or a timestamp; null if it is neither. #}
{% macro from_text(column, wanted) -%}
    {{ adapter.dispatch('from_text', 'firstup_dde')(column, wanted) }}
{%- endmacro %}

{% macro default__from_text(column, wanted) -%}
    try_cast({{ column }} as {{ firstup_dde.type_name(wanted) }})
{%- endmacro %}

{# PostgreSQL before 16 has no cast that does not fail, so only texts of the right form are cast. #}
{% macro postgres__from_text(column, wanted) -%}
    {%- set form = '^-?[0-9]{1,18}$' if wanted == 'integer'
        else '^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\\.[0-9]+)?)?Z?)?$' -%}
    case when {{ column }} ~ '{{ form }}' then cast({{ column }} as {{ firstup_dde.type_name(wanted) }}) end
{%- endmacro %}

{# A time in UTC, without a zone: business intelligence tools show it unchanged. #}
{% macro in_utc(column, actual) -%}
    {{ adapter.dispatch('in_utc', 'firstup_dde')(column, actual) }}
{%- endmacro %}

{% macro default__in_utc(column, actual) -%}
    {%- if 'with time zone' in actual -%}
        ({{ column }} at time zone 'UTC')
    {%- else -%}
        cast({{ column }} as timestamp)
    {%- endif -%}
{%- endmacro %}

{% macro snowflake__in_utc(column, actual) -%}
    {%- if 'tz' in actual and 'ntz' not in actual -%}
        cast(convert_timezone('UTC', {{ column }}) as timestamp_ntz)
    {%- else -%}
        cast({{ column }} as timestamp_ntz)
    {%- endif -%}
{%- endmacro %}
