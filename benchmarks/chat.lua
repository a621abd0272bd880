-- Posts one small chat request for ever and reports the run as one line of JSON.
wrk.method = "POST"
wrk.body = '{"model":"bench","messages":[{"role":"user","content":"Say something about foxes and dogs."}]}'
wrk.headers["Content-Type"] = "application/json"

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\nresult {"requests":%d,"duration_us":%d,"p50_us":%.1f,"p99_us":%.1f,"failed":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
