//! Increments add up to the whole.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn owner() -> Owner {
    ("shop".to_owned(), Subject::Pod("checkout-1".to_owned()))
}

fn target(rank: u8, instance: u64, job: u64) -> Target {
    Target {
        rank,
        instance,
        job,
    }
}

fn buffer(series: &[(Column, &[(i64, f64)])]) -> Buffer {
    let mut buffer = Buffer::default();
    for (column, values) in series {
        buffer.stream(owner(), target(0, 1, 1)).add(*column, values);
    }
    buffer
}

fn stream(buffer: &Buffer) -> &Stream {
    buffer.about(&owner(), false)[0]
}

#[test]
fn series_of_one_scrape_add_up() {
    let buffer = buffer(&[
        (Column::Succeeded, &[(1, 100.0), (2, 150.0)]),
        (Column::Failed, &[(2, 7.0)]),
        (Column::Succeeded, &[(1, 1.0), (2, 2.0)]),
    ]);
    let stream = stream(&buffer);
    assert_eq!(stream.times(), [1, 2]);
    assert_eq!(stream.column(Column::Succeeded), Some(&[101.0, 152.0][..]));
    assert_eq!(stream.column(Column::Failed), Some(&[0.0, 7.0][..]));
}

#[test]
fn a_newest_scrape_that_is_not_whole_waits_for_the_next() {
    let partial: &[(Column, &[(i64, f64)])] = &[
        (Column::Succeeded, &[(1, 100.0), (2, 150.0)]),
        (Column::Failed, &[(1, 7.0)]),
    ];
    assert_eq!(stream(&buffer(partial)).times(), [1]);
    let restarted: &[(Column, &[(i64, f64)])] = &[
        (Column::Succeeded, &[(1, 100.0), (2, 5.0), (3, 6.0)]),
        (Column::Failed, &[(1, 7.0)]),
    ];
    assert_eq!(stream(&buffer(restarted)).times(), [1, 2, 3]);
}

#[test]
fn a_later_answer_corrects_what_came_late() {
    let mut known = buffer(&[(Column::Succeeded, &[(1, 1.0), (2, 2.0)])]);
    let mut news = Vec::new();
    let later = buffer(&[
        (Column::Succeeded, &[(2, 2.0), (3, 3.0)]),
        (Column::Failed, &[(2, 1.0), (3, 1.0)]),
    ]);
    known.merge(later, |owner| news.push(owner.clone()));
    assert_eq!(news, [owner()]);
    assert_eq!(
        stream(&known).column(Column::Failed),
        Some(&[0.0, 1.0, 1.0][..])
    );
    let same = buffer(&[
        (Column::Succeeded, &[(3, 3.0)]),
        (Column::Failed, &[(3, 1.0)]),
    ]);
    known.merge(same, |owner| unreachable!("{owner:?} is no news"));
    assert_eq!(stream(&known).times(), [1, 2, 3]);
}

#[test]
fn the_first_name_that_has_data_counts() {
    let mut buffer = Buffer::default();
    for rank in [2, 1, 3] {
        let stream = buffer.stream(owner(), target(rank, 1, 1));
        stream.add(Column::Succeeded, &[(1, 1.0)]);
    }
    let found = buffer.about(&owner(), false);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].target.rank, 1);
}

#[test]
fn what_two_jobs_scrape_from_one_address_counts_once() {
    let mut buffer = Buffer::default();
    for (instance, job, at) in [(1, 1, 5), (1, 2, 9), (2, 1, 7)] {
        let stream = buffer.stream(owner(), target(0, instance, job));
        stream.add(Column::Succeeded, &[(at, 1.0)]);
    }
    let found = buffer.about(&owner(), false);
    let newest: Vec<_> = found.iter().map(|stream| stream.newest()).collect();
    assert_eq!(newest, [Some(9), Some(7)]);
    assert_eq!(buffer.about(&owner(), true).len(), 1);
}

#[test]
fn what_is_old_and_what_is_gone_is_forgotten() {
    let mut buffer = buffer(&[(Column::Total, &[(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)])]);
    buffer.forget(2, 2);
    assert_eq!(stream(&buffer).times(), [3, 4]);
    assert_eq!(stream(&buffer).column(Column::Total), Some(&[3.0, 4.0][..]));
    buffer.forget(5, 2);
    assert!(buffer.is_empty());
}

/// A counter by column and time; `None` where it was not there yet, or not any more.
type History = Vec<(i64, Vec<Option<u32>>)>;

fn histories() -> impl Strategy<Value = History> {
    let values = vec(proptest::option::weighted(0.9, 0_u32..1000), 3);
    vec((1_i64..20, values), 1..40).prop_map(|steps| {
        let mut at = 0;
        let steps = steps.into_iter();
        steps
            .map(|(step, values)| {
                at += step;
                (at, values)
            })
            .collect()
    })
}

/// What a source would answer about the samples after `from` up to `until`.
fn answered(history: &History, from: i64, until: i64) -> Buffer {
    let columns = [Column::Succeeded, Column::Failed, Column::Succeeded];
    let mut buffer = Buffer::default();
    for (place, column) in columns.into_iter().enumerate() {
        let values: Vec<(i64, f64)> = history
            .iter()
            .filter(|(at, _)| *at > from && *at <= until)
            .filter_map(|(at, values)| Some((*at, f64::from(values[place]?))))
            .collect();
        if !values.is_empty() {
            buffer.stream(owner(), target(0, 1, 1)).add(column, &values);
        }
    }
    buffer
}

/// What there is to read of a buffer, columns by name.
fn readable(buffer: &Buffer) -> Vec<(i64, f64, f64)> {
    let Some(stream) = buffer.about(&owner(), false).first().copied() else {
        return Vec::new();
    };
    let value = |column, at: usize| stream.column(column).map_or(0.0, |values| values[at]);
    let times = stream.times().iter().enumerate();
    times
        .map(|(at, time)| {
            (
                *time,
                value(Column::Succeeded, at),
                value(Column::Failed, at),
            )
        })
        .collect()
}

/// A buffer with one stream per list of times.
fn scraped(lists: &[&[i64]]) -> Buffer {
    let mut buffer = Buffer::default();
    for (instance, times) in (0..).zip(lists) {
        let values: Vec<(i64, f64)> = times.iter().map(|time| (*time, 1.0)).collect();
        let stream = buffer.stream(owner(), target(0, instance, 1));
        stream.add(Column::Total, &values);
    }
    buffer
}

#[test]
fn the_gap_of_a_stream_is_not_that_of_one_odd_scrape() {
    check_gap(&[&[1]], None);
    check_gap(&[&[1, 16]], Some(15));
    // The newest came early, because Prometheus was restarted; one was missed before.
    check_gap(&[&[0, 15, 30, 60, 75, 79]], Some(15));
    // It was another one until a while ago.
    let changed: Vec<i64> = (0..20)
        .map(|count| count * 60)
        .chain([1145, 1150, 1155, 1160, 1165])
        .collect();
    check_gap(&[&changed], Some(5));
}

#[test]
fn the_gap_of_all_is_neither_that_of_one_odd_stream_nor_that_of_slow_ones() {
    let often: &[i64] = &[0, 2, 4, 6, 8, 10];
    let usual: &[i64] = &[1, 16, 31];
    let seldom: &[i64] = &[2, 62, 122];
    check_gap(&[usual, often, usual], Some(15));
    check_gap(&[usual, often, usual, usual, usual], Some(15));
    check_gap(&[seldom, seldom, usual, seldom, usual, seldom], Some(15));
    check_gap(&[usual, seldom], Some(15));
    check_gap(&[], None);
}

#[track_caller]
fn check_gap(lists: &[&[i64]], expected: Option<i64>) {
    assert_eq!(scraped(lists).gap(), expected);
}

proptest! {
    /// Whatever the ticks and however they overlap, as long as they leave no gap.
    #[test]
    fn increments_equal_asking_for_everything_at_once(
        history in histories(),
        ticks in vec((1_i64..60, 0_i64..40), 1..20),
    ) {
        let mut known = Buffer::default();
        let (mut until, mut now) = (0, 0);
        for (step, overlap) in ticks {
            now += step;
            known.merge(answered(&history, until - overlap, now), |_| ());
            until = now;
        }
        prop_assert_eq!(readable(&known), readable(&answered(&history, -1, now)));
    }
}
