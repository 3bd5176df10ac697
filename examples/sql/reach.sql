-- Reach of each campaign: how many people it was shown to, and how many of them did something with it.
with people as (
    select cast(content_id as varchar) as campaign_id,
           user_id,
           max(case when impressions > 0 then 1 else 0 end) as was_reached,
           max(case when likes > 0 or shares > 0 or bookmarks > 0 or clicks > 0 or link_clicks > 0
                    then 1 else 0 end) as was_engaged
      from activities
     group by 1, 2
)
select c.campaign_id,
       c.campaign_name,
       sum(p.was_reached) as reached,
       sum(p.was_reached * p.was_engaged) as engaged
  from campaigns c
  join people p on p.campaign_id = c.campaign_id
 group by c.campaign_id, c.campaign_name
 order by 3 desc, 1;
