{{ config(alias='activities') }}
select {{ firstup_dde.friendly({
    'activity_id': 'Activity ID', 'campaign_id': 'Campaign ID', 'user_id': 'User ID', 'occurred_at': 'Occurred at',
    'activity_date': 'Day', 'channel': 'Channel', 'platform': 'Platform', 'is_action': 'Is an action',
    'is_delivery': 'Is a delivery', 'impressions': 'Impressions', 'opens': 'Opens', 'clicks': 'Clicks',
    'likes': 'Likes', 'shares': 'Shares', 'bookmarks': 'Bookmarks', 'video_plays': 'Video plays',
    'downloads': 'Downloads', 'poll_responses': 'Poll responses', 'acknowledge_counts': 'Acknowledgements'
}) }}
from {{ ref('fct_activities') }}
