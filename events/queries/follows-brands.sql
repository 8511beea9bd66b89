-- Who follows at least one of the brands, was in the app since a day, and has a device that can be pushed to.
SELECT user_id, platform, token, locale, timezone, updated_at,
       first_name, country, min(brand) AS brand  -- a column of CSV is a text: CAST says what else it is
FROM devices
JOIN follows USING (user_id)
JOIN users USING (user_id)
WHERE brand = ANY($brands)
  AND CAST(last_seen AS DATE) >= $since
  AND push_consent IS DISTINCT FROM 'no'
GROUP BY ALL
