#!/usr/bin/env bash
# The requests that Altcraft's documentation prints, with curl, and the answers that it prints.
# usage: curl_calls.sh BASE_URL TOKEN
set -euo pipefail
base=$1/api/v1.1/admin/accounts token=$2 failed=0
json='content-type: application/json' xml='content-type: application/xml'

# expect NAME ANSWER CURL_ARGUMENTS...: the body of the answer must be ANSWER.
expect() {
  local name=$1 wanted=$2 got
  shift 2
  got=$(curl -sS "$@")
  if [ "$got" = "$wanted" ]; then echo "altcraft: ok: $name"; else
    echo "altcraft: FAIL: $name: $got instead of $wanted"; failed=1
  fi
}

done_json='{"error":0,"error_text":"Successful operation"}'
done_data='<xml><data/><error>0</error><error_text>Successful operation</error_text></xml>'
done_xml='<xml><error>0</error><error_text>Successful operation</error_text></xml>'

for id in 1 2 3 4 5 6 7; do
  expect "save $id" "{\"data\":{\"saved_id\":$id},$(echo "$done_json" | cut -c2-)" "$base/save" -H "$json" \
    -d "{\"token\": \"$token\", \"name\": \"Steve\", \"title\": \"ASdf\", \"tz\": \"UTC\", \"tariff\": \"example tariff\", \"reports_day\": 5, \"reports_hour\": 22}"
done
expect "save in XML" '<xml><data><saved_id>8</saved_id></data><error>0</error><error_text>Successful operation</error_text></xml>' \
  "$base/save" -H "$xml" -d "<xml>
<token>$token</token>
<name>Steve</name>
<title>ASdf</title>
<tz>UTC</tz>
<tariff>example tariff</tariff>
<reports_day>5</reports_day>
<reports_hour>22</reports_hour>
</xml>"

for call in freeze unfreeze; do
  expect "$call in JSON" "$done_json" "$base/$call" -H "$json" -d "{
\"token\": \"$token\",
\"id\": 7,
\"frozen_details\": {
\"payment_url\": \"https://example.com\"
}
}"
  expect "$call in XML" "$done_data" "$base/$call" -H "$xml" -d "<xml>
<token>$token</token>
<id>7</id>
<frozen_details>
<payment_url>https://example.com</payment_url>
</frozen_details>
</xml>"
done
for call in deactivate activate; do
  expect "$call in JSON" "$done_json" "$base/$call" -H "$json" -d "{\"token\": \"$token\", \"id\": 7}"
  expect "$call in XML" "$done_xml" "$base/$call" -H "$xml" -d "    <xml>
<token>$token</token>
<id>7</id>
</xml>"
done
expect "list in JSON" '{"data":[],"error":0,"error_text":"Successful operation","total_count":8}' \
  "$base/list/" -H "$json" -d "{\"token\": \"$token\", \"from_id\": 300, \"limit\": 10}"
expect "list in XML" '<xml><data/><error>0</error><error_text>Successful operation</error_text><total_count>8</total_count></xml>' \
  "$base/list/" -H "$xml" -d "<xml>
<token>$token</token>
<from_id>300</from_id>
<limit>10</limit>
</xml>"
expect "delete in JSON" "$done_json" "$base/delete" -H "$json" -d "{\"token\": \"$token\", \"format\": \"json\", \"id\": 5}"
expect "delete in XML" "$done_data" "$base/delete" -H "$xml" -d "<xml><token>$token</token><id>6</id></xml>"
expect "the format of the answer" "$done_data" "$base/freeze" -H "$json" -d "{\"token\": \"$token\", \"format\": \"xml\", \"id\": 7}"

expect "the token in the header" "$done_json" "$base/freeze" -H "$json" -H "Authorization: Bearer $token" -d '{"id": 7}'
expect "the token in the query" "$done_json" "$base/freeze?token=$token" -H "$json" -d '{"id": 7}'
expect "the format in the query" "$done_data" "$base/freeze?token=$token&format=xml" -H "$json" -d '{"id": 7}'
expect "no token" '{"error":401,"error_text":"API token required"}' "$base/freeze" -H "$json" -d '{"id": 7}'
expect "an unknown token" '{"error":401,"error_text":"API token is invalid"}' "$base/freeze" -H "$json" -d '{"token": "x", "id": 7}'
expect "an unknown account" '<xml><error>404</error><error_text>Account not found</error_text></xml>' \
  "$base/freeze" -H "$xml" -d "<xml><token>$token</token><id>300</id></xml>"
expect "a slash too many" "$done_json" "$1/api/v1.1//admin/accounts//freeze/" -H "$json" -d "{\"token\": \"$token\", \"id\": 7}"
expect "a needless escape" "$done_json" "$1/api/v1%2E1/%61dmin/accounts/freeze" -H "$json" -d "{\"token\": \"$token\", \"id\": 7}"
exit "$failed"
