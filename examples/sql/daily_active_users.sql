-- People who did something, day by day (UTC, which is what target-postgres keeps times in).
-- An event that only delivers something (an email, a push, a notification) is not an action of theirs.
select a.date::date as day,
       count(distinct a.user_id) as active_users
  from activities a
 where a.date is not null
   and (
       coalesce(greatest(a.emails_delivered, a.push_delivered, a.assistant_delivered_count), 0) = 0
       or greatest(
           a.likes, a.shares, a.bookmarks, a.email_opens, a.feed_clicks, a.emails_clicks, a.push_clicks,
           a.impressions, a.downloads, a.poll_responses, a.acknowledge_counts, a.assistant_opens,
           a.video_plays, a.link_clicks, a.opens, a.clicks
       ) > 0
   )
 group by day
 order by day;
