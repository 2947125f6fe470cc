//! The tables of letters on their way, as the store sees them. Private to this room.
#![allow(missing_docs)]

diesel::table! {
    mailing (id) {
        id -> Text, campaign -> BigInt, subscriber_id -> Text, pseudonym -> Text, part -> Text, variant -> Nullable<Integer>,
        stratum -> Text, recording -> Text, state -> Text, position -> BigInt, due_at -> BigInt, lease_owner -> Nullable<Text>,
        lease_until -> Nullable<BigInt>, attempts -> Integer, first_attempt_at -> Nullable<BigInt>, reason -> Nullable<Text>,
        finished_at -> Nullable<BigInt>,
    }
}
diesel::table! {
    outcome (id) {
        id -> Text, mailing_id -> Text, campaign -> BigInt, pseudonym -> Text, kind -> Text, reason -> Text, recording -> Nullable<Text>, at -> BigInt, relayed -> Bool,
    }
}
diesel::allow_tables_to_appear_in_same_query!(mailing, outcome);
