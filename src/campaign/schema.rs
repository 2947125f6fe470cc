//! The tables of campaigns as the store sees them. Private to this room.
#![allow(missing_docs)]

diesel::table! {
    campaign (number) {
        number -> BigInt, name -> Text, state -> Text, definition -> Text, created_at -> BigInt, seal -> Nullable<Text>,
        seed -> Nullable<Text>, sealed_at -> Nullable<BigInt>, enrolled_at -> Nullable<BigInt>, sending_at -> Nullable<BigInt>,
        observing_at -> Nullable<BigInt>, decided_at -> Nullable<BigInt>, looked_at -> Nullable<BigInt>, closed_at -> Nullable<BigInt>, paused -> Bool,
        pause_reason -> Nullable<Text>, chosen_variant -> Nullable<Integer>, chosen_by -> Nullable<Text>,
        chosen_at -> Nullable<BigInt>, chosen_against -> Nullable<Text>, judged -> Nullable<Text>, proof -> Nullable<Text>,
        cancelled_at -> Nullable<BigInt>,
    }
}
diesel::table! {
    link (campaign, variant, number) { campaign -> BigInt, variant -> Integer, number -> Integer, url -> Text, }
}
diesel::table! {
    pause (campaign, at) { campaign -> BigInt, at -> BigInt, until -> Nullable<BigInt>, reason -> Text, }
}
diesel::table! {
    image (id) { id -> Text, digest -> Text, kind -> Text, bytes -> Binary, uploaded_at -> BigInt, }
}
diesel::allow_tables_to_appear_in_same_query!(campaign, link, pause);
