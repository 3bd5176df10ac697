-- Of the people who saw a campaign that asks for it, how many acknowledged.
with people as (
    select cast(content_id as varchar) as campaign_id,
           user_id,
           max(case when impressions > 0 then 1 else 0 end) as was_reached,
           max(case when acknowledge_counts > 0 then 1 else 0 end) as has_acknowledged
      from activities
     group by 1, 2
)
select c.campaign_id,
       c.campaign_name,
       sum(p.was_reached) as reached,
       sum(p.was_reached * p.has_acknowledged) as acknowledged,
       round(
           cast(sum(p.was_reached * p.has_acknowledged) as numeric) / nullif(sum(p.was_reached), 0), 3
       ) as acknowledgement_rate
  from campaigns c
  join people p on p.campaign_id = c.campaign_id
 where c.acknowledgeable
 group by c.campaign_id, c.campaign_name
 order by 1;
