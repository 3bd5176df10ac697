{{ config(alias='campaigns') }}
select {{ firstup_dde.friendly({
    'campaign_id': 'Campaign ID', 'campaign_name': 'Campaign', 'publish_date': 'Published at',
    'archive_date': 'Archived at', 'publication_state': 'Publication state', 'content_type': 'Content type',
    'source_type': 'Source type', 'channels': 'Delivery channels', 'topic_name': 'Topics',
    'initiatives': 'Initiatives', 'audiences': 'Audiences', 'author_name': 'Author', 'publisher_name': 'Publisher',
    'acknowledgeable': 'Asks for acknowledgement', 'is_featured': 'Featured', 'subject_line': 'Subject line',
    'studio_url': 'Studio URL', 'generated_at': 'Exported at'
}) }}
from {{ ref('dim_campaigns') }}
