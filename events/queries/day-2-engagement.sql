-- Who signed up two days before a day, has not followed anybody yet, and has a device that can be pushed to.
SELECT user_id, platform, token, locale, timezone, first_name
FROM signups
WHERE CAST(signed_up_on AS DATE) = $day - 2
  AND CAST(follows AS INTEGER) = 0
