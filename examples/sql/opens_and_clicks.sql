-- Opens and clicks of each campaign, and clicks per open.
select c.campaign_id,
       c.campaign_name,
       sum(coalesce(a.opens, 0)) as total_opens,
       sum(coalesce(a.clicks, 0)) as total_clicks,
       round(
           cast(sum(coalesce(a.clicks, 0)) as numeric) / nullif(sum(coalesce(a.opens, 0)), 0), 3
       ) as clicks_per_open
  from campaigns c
  join activities a on cast(a.content_id as varchar) = c.campaign_id
 group by c.campaign_id, c.campaign_name
 order by 3 desc, 1;
