-- Opens and clicks of each campaign, and clicks per open.
select c.campaign_id,
       c.campaign_name,
       sum(coalesce(a.opens, 0)) as opens,
       sum(coalesce(a.clicks, 0)) as clicks,
       round(sum(coalesce(a.clicks, 0))::numeric / nullif(sum(coalesce(a.opens, 0)), 0), 3) as clicks_per_open
  from campaigns c
  join activities a on a.content_id::text = c.campaign_id
 group by c.campaign_id, c.campaign_name
 order by opens desc, c.campaign_id;
