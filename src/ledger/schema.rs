//! The ledger's tables of events as the store sees them. Private to this room.
#![allow(missing_docs)]

diesel::table! {
    subject (pseudonym) {
        pseudonym -> Text, campaign -> BigInt, variant -> Integer, part -> Text, stratum -> Text, recording -> Text,
        delivery_flags -> Integer, open_flags -> Integer, click_flags -> Integer,
        first_open_at -> Nullable<BigInt>, first_click_at -> Nullable<BigInt>, at_risk -> Bool, judge_at -> Nullable<BigInt>,
    }
}
diesel::table! {
    event (seq) {
        seq -> BigInt, id -> Text, campaign -> BigInt, variant -> Nullable<Integer>, part -> Nullable<Text>, pseudonym -> Nullable<Text>, kind -> Text, at -> BigInt,
        link -> Nullable<Integer>, class -> Nullable<Text>, confidence -> Nullable<Text>, reasons -> Nullable<Integer>,
        ruleset -> Nullable<Integer>, family -> Nullable<Text>, device -> Nullable<Text>, multiplicity -> Integer, reason -> Nullable<Text>,
        class0 -> Nullable<Text>, confidence0 -> Nullable<Text>, reasons0 -> Nullable<Integer>, settled -> Bool,
    }
}
diesel::table! {
    filed (pseudonym, seq) { pseudonym -> Text, seq -> BigInt, }
}
diesel::table! {
    tally (campaign, part, variant, name) { campaign -> BigInt, part -> Text, variant -> Integer, name -> Text, value -> BigInt, }
}
diesel::table! {
    counter (name) { name -> Text, value -> BigInt, }
}
diesel::table! {
    look (campaign) {
        campaign -> BigInt, until -> BigInt, counts -> Text, firsts -> Text, silent -> Text, replay -> Nullable<Text>,
    }
}
diesel::table! {
    replay (campaign, kind, until) {
        campaign -> BigInt, kind -> Text, until -> BigInt, made_at -> BigInt, successes -> BigInt, base -> Text, state -> Nullable<Text>,
    }
}
diesel::table! {
    watch (campaign) {
        campaign -> BigInt, since -> BigInt, seq -> BigInt, at_risk -> Text, crossing -> Nullable<Text>, found_at -> Nullable<BigInt>,
        settled_at -> Nullable<BigInt>,
    }
}
diesel::table! {
    withdrawal (pseudonym) { pseudonym -> Text, at -> BigInt, }
}
diesel::table! {
    spool (id) {
        id -> Text, segment -> BigInt, place -> BigInt, damaged -> Bool, alive_at -> Nullable<BigInt>, loaded_before -> Nullable<BigInt>,
    }
}
diesel::table! {
    rebuild (scope) { scope -> BigInt, began_at -> BigInt, after -> Text, recipients -> BigInt, mended -> BigInt, }
}
diesel::allow_tables_to_appear_in_same_query!(subject, event, filed, tally, counter, look, replay, watch, withdrawal, spool, rebuild);
