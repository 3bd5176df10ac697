-- Where people read: events and people by platform, and each platform's share of the events.
select coalesce(a.platform, 'unknown') as platform,
       count(*) as events,
       count(distinct a.user_id) as people,
       round(count(*)::numeric / sum(count(*)) over (), 3) as share
  from activities a
 group by 1
 order by events desc, platform;
