use super::*;

fn media(bytes: &[u8]) -> ServiceMedia {
    let mut media = ServiceMedia::default();
    media.insert("package-2.0", bytes.into());
    media
}

fn read(media: &mut ServiceMedia, sector: u64, sectors: u32) -> Result<Vec<u8>, BlockError> {
    let mut into = Vec::new();
    let request = Request::Read {
        sector,
        sectors,
        into: &mut into,
    };
    let ticket = media.submit(Nanos(0), 1, request, &mut Vec::new());
    assert_eq!(
        media.take_completions(Nanos(1), 1),
        [],
        "not before its time"
    );
    let at = media.deadline(1).unwrap();
    assert_eq!(media.deadline(0), None, "no business of another port");
    assert_eq!(media.take_completions(at, 0), [], "not to another port");
    let mut answers = media.take_completions(at, 1);
    assert_eq!(answers[0].ticket, ticket);
    answers.remove(0).result.map(|()| into)
}

#[test]
fn the_last_sector_is_padded_and_the_end_is_a_wall() {
    let mut media = media(&[7; 700]);
    assert_eq!(media.sectors(), 2);
    let last = read(&mut media, 1, 1).unwrap();
    assert_eq!((last[187], last[188], last.len()), (7, 0, 512));
    assert_eq!(read(&mut media, 1, 2), Err(BlockError::OutOfRange));
    assert_eq!(read(&mut media, u64::MAX, 1), Err(BlockError::OutOfRange));
}

#[test]
fn an_empty_slot_has_no_sectors_and_fails_reads() {
    let mut media = media(&[7; 512]);
    media.eject();
    assert_eq!((media.sectors(), media.label()), (0, None));
    assert_eq!(read(&mut media, 0, 1), Err(BlockError::Failed));
}

#[test]
fn a_reset_driver_gets_no_answers() {
    let mut media = media(&[7; 512]);
    media.submit(
        Nanos(0),
        1,
        Request::Read {
            sector: 0,
            sectors: 1,
            into: &mut Vec::new(),
        },
        &mut Vec::new(),
    );
    media.forget(1);
    assert_eq!(media.deadline(1), None);
}
