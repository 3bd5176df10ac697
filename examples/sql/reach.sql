-- Reach of each campaign: how many people it was shown to, and how many of them did something with it.
with people as (
    select content_id::text as campaign_id,
           user_id,
           bool_or(impressions > 0) as reached,
           bool_or(likes > 0 or shares > 0 or bookmarks > 0 or clicks > 0 or link_clicks > 0) as engaged
      from activities
     group by 1, 2
)
select c.campaign_id,
       c.campaign_name,
       count(*) filter (where p.reached) as reached,
       count(*) filter (where p.reached and p.engaged) as engaged
  from campaigns c
  join people p on p.campaign_id = c.campaign_id
 group by c.campaign_id, c.campaign_name
 order by reached desc, c.campaign_id;
