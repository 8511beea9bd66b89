-- Who follows one of the brands and was in the app since a day: follows-brands, in BigQuery's dialect.
SELECT d.user_id, d.platform, d.token, u.locale, u.timezone, d.updated_at, u.first_name, u.country
FROM crm.devices AS d
JOIN crm.users AS u ON u.user_id = d.user_id
WHERE d.user_id IN (SELECT user_id FROM crm.follows WHERE brand IN UNNEST($brands))
  AND CAST(u.last_seen AS DATE) >= $since
  AND u.push_consent IS DISTINCT FROM 'no'
