"""The gateways: one transport that carries requests, and for FCM and APNs each their messages, auth and verdicts."""
