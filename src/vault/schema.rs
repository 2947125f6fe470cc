//! The vault's tables as the store sees them. Private to this room: other rooms cannot write its SQL.
#![allow(missing_docs)]

diesel::table! {
    list (id) { id -> Text, name -> Text, created_at -> BigInt, }
}
diesel::table! {
    subscriber (id) {
        id -> Text, address -> Text, provider -> Text, needs_smtputf8 -> Bool, attributes -> Text, recording -> Text,
        consent_source -> Text, consent_at -> BigInt, created_at -> BigInt, updated_at -> BigInt,
    }
}
diesel::table! {
    mail_domain (domain) { domain -> Text, provider -> Text, ask_at -> BigInt, }
}
diesel::table! {
    membership (list_id, subscriber_id) { list_id -> Text, subscriber_id -> Text, joined_at -> BigInt, }
}
diesel::table! {
    list_field (list_id, name) { list_id -> Text, name -> Text, }
}
diesel::table! {
    consent (id) { id -> Text, subscriber_id -> Text, recording -> Text, source -> Text, agreed_at -> BigInt, recorded_at -> BigInt, }
}
diesel::table! {
    suppression (subscriber_id, reason) { subscriber_id -> Text, reason -> Text, at -> BigInt, }
}
diesel::table! {
    account (id) { id -> Text, login -> Text, password_hash -> Text, role -> Text, created_at -> BigInt, }
}
diesel::table! {
    session (key_hash) { key_hash -> Text, account_id -> Text, csrf -> Text, created_at -> BigInt, expires_at -> BigInt, }
}
diesel::table! {
    api_key (key_hash) { key_hash -> Text, account_id -> Text, label -> Text, created_at -> BigInt, }
}
diesel::allow_tables_to_appear_in_same_query!(list, subscriber, membership, list_field, consent, suppression, account, session, api_key);
