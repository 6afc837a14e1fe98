//! What other hands do to the drives beside the box: files brought, taken away, put back, copied to B, and leftovers.
use shoebox::model::hash::ContentHash;
use shoebox::model::path::RelPath;
use shoebox::model::place::Place;

use crate::world::{Which, World};

impl World {
    /// Another hand writes a file into the tree, or goes on writing one, or takes one away.
    pub(crate) fn other_hand(&mut self) -> Result<(), String> {
        if !self.a.is_alive() {
            return Ok(());
        }
        match self.rng.below(8) {
            0 => return self.take_away(),
            1 => return self.help_mirror(),
            2 => return self.put_back(),
            _ => {}
        }
        let under_way = self.model.foreign.values().next().cloned().filter(|_| self.rng.one_in(2));
        let path = match under_way {
            Some(path) => path,
            None => {
                let path = self.some_path().as_str().replace(".jpg", "-card.jpg");
                RelPath::parse(&path).expect("a path of ours")
            }
        };
        let fold = path.fold_key();
        let known = self.model.names.contains_key(&fold) || self.model.haunted(&fold);
        if known || path.name().to_lowercase() != path.name() {
            return Ok(());
        }
        let bytes = self.some_bytes();
        self.note(format!("another hand puts {path}, {} bytes", bytes.len()));
        self.model.given.insert(ContentHash::of(&bytes));
        self.a.put_by_other_hand(&Place::photo(&path), &bytes);
        self.model.brought.push(bytes);
        self.model.foreign.insert(fold, path);
        Ok(())
    }

    /// Another hand puts a file back that the box knows to be missing, and nothing makes it durable.
    fn put_back(&mut self) -> Result<(), String> {
        let missing = self.missing_on_a()?;
        let back = self.model.taken.iter().find(|(fold, bytes)| {
            let named = self.model.names.get(*fold).is_some_and(|kept| kept.hash == ContentHash::of(bytes));
            named && missing.contains(*fold) && !self.model.haunted(fold)
        });
        let Some((fold, bytes)) = back.map(|(fold, bytes)| (fold.clone(), bytes.clone())) else {
            return Ok(());
        };
        let path = self.model.names[&fold].path.clone();
        self.note(format!("another hand puts {path} back"));
        self.a.put_by_other_hand(&Place::photo(&path), &bytes);
        self.model.brought.push(bytes);
        self.model.taken.remove(&fold);
        self.model.ever_put_back.insert(fold.clone());
        self.model.put_back.insert(fold);
        Ok(())
    }

    /// Another hand copies a photo from A to B, and nothing makes it durable.
    fn help_mirror(&mut self) -> Result<(), String> {
        let Some(kept) = self.some_name() else { return Ok(()) };
        let place = Place::photo(&kept.path);
        let bytes = self.a.files().get(place.as_str()).map(|bytes| bytes.to_vec());
        let (Some(bytes), true) = (bytes, self.b.is_alive()) else { return Ok(()) };
        if self.b.files().contains_key(place.as_str()) || self.model.haunted(&kept.path.fold_key()) {
            return Ok(());
        }
        self.note(format!("another hand copies {} to B", kept.path));
        self.b.put_by_other_hand(&place, &bytes);
        self.model.brought.push(bytes);
        self.model.helped = true;
        Ok(())
    }

    fn take_away(&mut self) -> Result<(), String> {
        let Some(kept) = self.some_name() else { return Ok(()) };
        let fold = kept.path.fold_key();
        let place = Place::photo(&kept.path);
        if self.model.haunted(&fold) || !self.a.files().contains_key(place.as_str()) {
            return Ok(());
        }
        self.note(format!("another hand takes {} away", kept.path));
        let bytes = self.a.files().get(place.as_str()).map(|bytes| bytes.to_vec());
        self.model.taken.insert(fold.clone(), bytes.unwrap_or_default());
        self.a.remove_by_other_hand(&place);
        self.a.settle_name(&place);
        self.model.removed.insert(fold);
        // Other names and the trash may hold it, too; this hand is not ours to answer for.
        self.model.owed.remove(&kept.hash);
        Ok(())
    }

    /// Leftovers of an upload that was under way when the box was killed.
    pub(crate) fn leave_orphan(&mut self) {
        for which in [Which::A, Which::B] {
            if self.volume(which).is_alive() {
                let name = format!("left-{}", self.rng.below(3));
                self.volume(which).put_by_other_hand(&Place::staged(&name), b"half an upl");
            }
        }
    }
}
