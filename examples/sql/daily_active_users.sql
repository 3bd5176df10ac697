-- People with any activity, day by day (UTC, which is what target-postgres keeps times in).
select a.date::date as day,
       count(distinct a.user_id) as active_users
  from activities a
 where a.date is not null
 group by day
 order by day;
