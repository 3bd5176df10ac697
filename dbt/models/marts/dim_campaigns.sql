select *
from {{ ref('stg_firstup__campaigns') }}
