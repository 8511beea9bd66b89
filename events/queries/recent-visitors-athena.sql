-- Who follows one of the brands and was in the app since a day: follows-brands, in Athena's dialect.
SELECT d.user_id, d.platform, d.token, u.locale, u.timezone, d.updated_at, u.first_name, u.country
FROM devices AS d
JOIN users AS u ON u.user_id = d.user_id
WHERE d.user_id IN (SELECT user_id FROM follows WHERE contains($brands, brand))  -- $brands is an array
  AND CAST(u.last_seen AS date) >= $since
  AND u.push_consent IS DISTINCT FROM 'no'
