-- Of the people who saw a campaign that asks for it, how many acknowledged.
with people as (
    select content_id::text as campaign_id,
           user_id,
           bool_or(impressions > 0) as reached,
           bool_or(acknowledge_counts > 0) as acknowledged
      from activities
     group by 1, 2
)
select c.campaign_id,
       c.campaign_name,
       count(*) filter (where p.reached) as reached,
       count(*) filter (where p.reached and p.acknowledged) as acknowledged,
       round(
           count(*) filter (where p.reached and p.acknowledged)::numeric
           / nullif(count(*) filter (where p.reached), 0), 3
       ) as acknowledgement_rate
  from campaigns c
  join people p on p.campaign_id = c.campaign_id
 where c.acknowledgeable
 group by c.campaign_id, c.campaign_name
 order by c.campaign_id;
