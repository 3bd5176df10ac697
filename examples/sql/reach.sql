-- Reach of each campaign: how many people it was shown to, and how many of them did something with it.
select c.campaign_id,
       c.campaign_name,
       count(distinct a.user_id) filter (where a.impressions > 0) as reached,
       count(distinct a.user_id) filter (
           where a.likes > 0 or a.shares > 0 or a.bookmarks > 0 or a.clicks > 0 or a.link_clicks > 0
       ) as engaged
  from campaigns c
  join activities a on a.content_id::text = c.campaign_id
 group by c.campaign_id, c.campaign_name
 order by reached desc, c.campaign_id;
