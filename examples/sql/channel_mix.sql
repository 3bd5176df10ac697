-- Where people read: what they did by platform, the people, and each platform's share of the events.
-- An event that only delivers something (an email, a push, a notification) is not an action of theirs.
select coalesce(a.platform, 'unknown') as platform,
       count(*) as events,
       count(distinct a.user_id) as people,
       round(count(*)::numeric / sum(count(*)) over (), 3) as share
  from activities a
 where coalesce(greatest(a.emails_delivered, a.push_delivered, a.assistant_delivered_count), 0) = 0
    or greatest(
           a.likes, a.shares, a.bookmarks, a.email_opens, a.feed_clicks, a.emails_clicks, a.push_clicks,
           a.impressions, a.downloads, a.poll_responses, a.acknowledge_counts, a.assistant_opens,
           a.video_plays, a.link_clicks, a.opens, a.clicks
       ) > 0
 group by 1
 order by events desc, platform;
