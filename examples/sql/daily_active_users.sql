-- People who did something, day by day (UTC, which is what the Singer targets keep times in).
-- An event that only delivers something (an email, a push, a notification) is not an action of theirs.
select cast(a.date as date) as day,
       count(distinct a.user_id) as active_users
  from activities a
 where a.date is not null
   and (
       coalesce(a.emails_delivered, 0) + coalesce(a.push_delivered, 0) + coalesce(a.assistant_delivered_count, 0) = 0
       or a.likes > 0 or a.shares > 0 or a.bookmarks > 0 or a.email_opens > 0 or a.feed_clicks > 0
       or a.emails_clicks > 0 or a.push_clicks > 0 or a.impressions > 0 or a.downloads > 0 or a.poll_responses > 0
       or a.acknowledge_counts > 0 or a.assistant_opens > 0 or a.video_plays > 0 or a.link_clicks > 0
       or a.opens > 0 or a.clicks > 0
   )
 group by 1
 order by 1;
