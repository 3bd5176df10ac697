{# Schemas are named as they stand in dbt_project.yml. In a project that installs this package, its own macro decides. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ custom_schema_name or target.schema }}
{%- endmacro %}
