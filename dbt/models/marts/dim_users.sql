select
    *,
    coalesce(attribute_department, 'unknown') as department,
    {{ firstup_dde.has_left() }} as has_left
from {{ ref('stg_firstup__users') }}
