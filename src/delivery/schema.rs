//! The tables of letters on their way, as the store sees them. Private to this room.
#![allow(missing_docs)]

diesel::table! {
    mailing (id) {
        id -> Text, campaign -> BigInt, subscriber_id -> Text, pseudonym -> Text, part -> Text, variant -> Nullable<Integer>,
        stratum -> Text, provider -> Text, recording -> Text, state -> Text, position -> BigInt, due_at -> BigInt, not_before -> Nullable<BigInt>, lease_owner -> Nullable<Text>,
        attempts -> Integer, first_attempt_at -> Nullable<BigInt>, reason -> Nullable<Text>,
        finished_at -> Nullable<BigInt>,
    }
}
diesel::table! {
    lease (owner) { owner -> Text, campaign -> BigInt, ends_at -> BigInt, revoked -> Bool, at_dot -> Nullable<Text>, }
}
diesel::table! {
    attempt (mailing_id, number) {
        mailing_id -> Text, number -> Integer, id -> Text, at -> BigInt, relay -> Text, stage -> Text, verdict -> Text, code -> Nullable<Integer>,
        enhanced -> Nullable<Text>, text -> Text, reason -> Nullable<Text>, due_at -> Nullable<BigInt>, recording -> Nullable<Text>,
    }
}
diesel::table! {
    outcome (at, id) {
        id -> Text, campaign -> BigInt, pseudonym -> Text, kind -> Text, reason -> Text, recording -> Nullable<Text>, at -> BigInt,
    }
}
diesel::table! {
    mailing_tally (campaign, part, state, reason) { campaign -> BigInt, part -> Text, state -> Text, reason -> Text, value -> BigInt, }
}
diesel::table! {
    enrolment (campaign) { campaign -> BigInt, owner -> Text, owned_until -> BigInt, planned_at -> Nullable<BigInt>, }
}
diesel::table! {
    schedule (campaign) { campaign -> BigInt, start_at -> BigInt, }
}
diesel::table! {
    pace (relay, campaign, minute) { relay -> Text, campaign -> BigInt, minute -> BigInt, accepted -> BigInt, }
}
diesel::table! {
    judged (campaign, minute) { campaign -> BigInt, minute -> BigInt, accepted -> BigInt, refused -> BigInt, in_a_row -> BigInt, }
}
diesel::table! {
    relay_day (relay, day) { relay -> Text, day -> BigInt, reserved -> BigInt, }
}
diesel::table! {
    sender (process) { process -> Text, seen_at -> BigInt, }
}
