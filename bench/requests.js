// What k6 sends where there is no wrk: the requests of requests.lua.
//
//   k6 run --quiet -e URL=… -e SECONDS=… -e CLIENTS=… -e KIND=… -e TAG=… -e SKUS=… -e API_KEYS_FILE=… requests.js
//
// What is under way at the end is waited for (gracefulStop), so that what was accepted can be compared with what was
// written, to the last movement.

import exec from 'k6/execution';
import http from 'k6/http';

const { URL, KIND, TAG, SKUS } = __ENV;
const SHIP_TO = {
  name: 'Ada Lovelace', line1: '1 Shoreline Dr', city: 'Seattle', state: 'WA', postal: '98101', country: 'US',
};
const API_KEYS = open(__ENV.API_KEYS_FILE).trim().split('\n');

export const options = {
  discardResponseBodies: true,
  scenarios: {
    load: {
      executor: 'constant-vus',
      vus: Number(__ENV.CLIENTS),
      duration: `${__ENV.SECONDS}s`,
      gracefulStop: '10s',
    },
  },
  summaryTrendStats: ['med', 'p(99)'],
};

export default function () {
  const sku = `SKU-${1 + Math.floor(Math.random() * Number(SKUS))}`;
  const headers = { Authorization: `Bearer ${API_KEYS[Math.floor(Math.random() * API_KEYS.length)]}` };
  if (KIND === 'read') {
    http.get(`${URL}/v1/inventory/balance?sku=${sku}&warehouse=SEA-1`, { headers });
    return;
  }
  headers['Content-Type'] = 'application/json';
  const key = `${TAG}-${exec.vu.idInTest}-${exec.vu.iterationInInstance}`;
  headers['Idempotency-Key'] = key;
  if (KIND === 'ship') {
    const shipment = { order_id: key, ship_to: SHIP_TO, line_items: [{ sku, qty: 1 + Math.floor(Math.random() * 3) }] };
    http.post(`${URL}/v1/shipments`, JSON.stringify(shipment), { headers });
    return;
  }
  const movement = { sku, warehouse: 'SEA-1', qty: 1, reason: 'receipt', reference: 'PO-2026-00814' };
  http.post(`${URL}/v1/inventory/ledger`, JSON.stringify(movement), { headers });
}

export function handleSummary({ metrics }) {
  const sent = metrics.http_reqs.values.count;
  const { med, 'p(99)': p99 } = metrics.http_req_duration.values;
  const told = {
    sent,
    answered: sent,
    refused: metrics.http_req_failed.values.passes,
    p50_us: Math.round(med * 1000),
    p99_us: Math.round(p99 * 1000),
  };
  return { stdout: `${JSON.stringify(told)}\n` };
}
