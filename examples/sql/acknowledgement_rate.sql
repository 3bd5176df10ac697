-- Of the people who saw a campaign that asks for it, how many acknowledged.
select c.campaign_id,
       c.campaign_name,
       count(distinct a.user_id) filter (where a.impressions > 0) as reached,
       count(distinct a.user_id) filter (where a.acknowledge_counts > 0) as acknowledged,
       round(
           count(distinct a.user_id) filter (where a.acknowledge_counts > 0)::numeric
           / nullif(count(distinct a.user_id) filter (where a.impressions > 0), 0), 3
       ) as acknowledgement_rate
  from campaigns c
  join activities a on a.content_id::text = c.campaign_id
 where c.acknowledgeable
 group by c.campaign_id, c.campaign_name
 order by c.campaign_id;
