-- Where people read: what they did by platform, the people, and each platform's share of the events.
-- An event that only delivers something (an email, a push, a notification) is not an action of theirs.
select coalesce(a.platform, 'unknown') as channel,
       count(*) as events,
       count(distinct a.user_id) as people,
       round(cast(count(*) as numeric) / sum(count(*)) over (), 3) as share_of_events
  from activities a
 where coalesce(a.emails_delivered, 0) + coalesce(a.push_delivered, 0) + coalesce(a.assistant_delivered_count, 0) = 0
    or a.likes > 0 or a.shares > 0 or a.bookmarks > 0 or a.email_opens > 0 or a.feed_clicks > 0
    or a.emails_clicks > 0 or a.push_clicks > 0 or a.impressions > 0 or a.downloads > 0 or a.poll_responses > 0
    or a.acknowledge_counts > 0 or a.assistant_opens > 0 or a.video_plays > 0 or a.link_clicks > 0
    or a.opens > 0 or a.clicks > 0
 group by 1
 order by 2 desc, 1;
